# CMake generated Testfile for 
# Source directory: /work/wt/raft/query
# Build directory: /work/wt/raft/build-clang/query
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
