"""What a gateway is deployed with; as a package only so that its programs are checked and tested like the rest."""
