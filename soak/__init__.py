"""`make soak`: a whole fleet at work for a while, with everything going wrong that does, and an account of it."""
