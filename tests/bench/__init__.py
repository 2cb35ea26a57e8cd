"""The benchmark: that each row runs, and that figures are judged rightly."""
