"""firectl's commands, one module per noun."""
