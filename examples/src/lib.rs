//! Small programs, each on either driver.
