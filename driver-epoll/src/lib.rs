//! Runs protocols on Linux epoll, one loop per thread.
