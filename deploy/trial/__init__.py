"""`make image-test` and `make pod-test`: the image and the Pod, built and run for real where buildah and podman are.

Everything is in a storage of its own and in a mount namespace of its own; nothing is left on the machine, and no bridge
is made on it.
"""
