mod breaks;
mod holds;
mod story;
