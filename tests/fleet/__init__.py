"""Fleet updates as a whole: many hosts that are scripted, real services, a clock that is moved."""
