"""Result rows, one summary over seeds and questions, tables, plots, the explorer."""
