// Real work: a pipeline of goroutines that counts the words of a whole tree.
#pragma once
#include <atomic>
#include <leash/leash.hpp>
#include <string>

namespace demo {

/// Counts the tree, prints a table and the command that checks it, then races one plain thread.
leash::task<> pipeline_act(std::string root, unsigned workers, const std::atomic<bool>& stop);

}  // namespace demo
