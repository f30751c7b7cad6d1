"""What the commands of recipes are given, and the values of the fields."""

RECIPE_OPTIONS = {
    "accumulation_steps": ("--accumulation-steps 2", 2),
    "learning_rate": ("--learning-rate 0.5", 0.5),
    "schedule": ("--schedule cosine", "cosine"),
    "decay_epochs": ("--decay-epochs 0.5,2.5", (0.5, 2.5)),
    "decay_factor": ("--decay-factor 0.25", 0.25),
    "momentum": ("--momentum 0.75", 0.75),
    "nesterov": ("--nesterov", True),
    "l2": ("--l2 0.125", 0.125),
    "l2_on_all": ("--no-l2-on-all", False),
    "clipnorm": ("--clipnorm 2.5", 2.5),
    "backbone_rate": ("--backbone-rate 0.25", 0.25),
    "ema": ("--ema 0.75", 0.75),
    "precision": ("--precision mixed_float16", "mixed_float16"),
    "sync_bn": ("--sync-bn", True),
    "seed": ("--seed 7", 7),
    "epochs": ("--epochs 3", 3),
}
