"""What the layers compute with: convolutions in the form that is fastest."""
