"""Rows, tokens and masks, the trainer, one fine-tune, models side by side, export."""
