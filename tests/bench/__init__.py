"""The benchmark measures right: its fakes, its arithmetic, and one run in tiny."""
