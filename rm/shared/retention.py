"""The rules that a retention may hold, as server and agent know them."""

COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
PERIODS = (
    "keep_within", "keep_within_hourly", "keep_within_daily", "keep_within_weekly", "keep_within_monthly",
    "keep_within_yearly",
)  # fmt: skip
MOST = 10_000
