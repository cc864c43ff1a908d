"""What each method is, claims and cannot tell: one entry a method, a file a family."""
