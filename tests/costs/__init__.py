"""What a training costs, in counts: no noise and no machine changes them."""
