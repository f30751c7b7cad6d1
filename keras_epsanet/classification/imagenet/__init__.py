"""The paper's training and evaluation of an EPSANet on ImageNet."""
