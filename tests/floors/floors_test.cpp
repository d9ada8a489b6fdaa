// The rooms of the library are floors: floors.txt says which, and this reads every #include to see that it holds.
// Also: memory orders that belong together are marked `// ORD name-N` at both ends. Each check is shown a planted
// fault.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using findings = std::vector<std::string>;

struct room_of_file {
  std::string room;
  int floor = -1;
};

struct policy {
  std::map<std::string, int> floor_of;             // by room
  std::map<std::string, std::string> header_room;  // by file name
};

policy read_policy(const fs::path& file, findings& wrong) {
  policy p;
  std::ifstream in(file);
  if (!in) wrong.push_back("no policy at " + file.string());
  int floor = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string kind, first, second;
    if (!(words >> kind)) continue;
    if (kind == "floor") {
      for (std::string room; words >> room;) p.floor_of[room] = floor;
      ++floor;
    } else if (kind == "header" && words >> first >> second) {
      if (!p.floor_of.contains(second)) wrong.push_back("floors.txt: " + first + " is in no known room: " + second);
      if (!p.header_room.emplace(first, second).second) wrong.push_back("floors.txt: " + first + " stands there twice");
    } else {
      wrong.push_back("floors.txt: cannot read: " + line);
    }
  }
  return p;
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What `#include "x"` or `#include <x>` names; empty for other lines.
std::string included(std::string_view line) {
  auto skip_spaces = [&] { line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size())); };
  skip_spaces();
  if (!line.starts_with('#')) return {};
  line.remove_prefix(1);
  skip_spaces();
  if (!line.starts_with("include")) return {};
  line.remove_prefix(7);
  skip_spaces();
  if (!line.starts_with('"') && !line.starts_with('<')) return {};
  const std::size_t end = line.find_first_of("\">", 1);
  return end == line.npos ? std::string() : std::string(line.substr(1, end - 1));
}

/// The library's own files, as paths relative to `root`, sorted.
std::vector<fs::path> files_under(const fs::path& root) {
  std::vector<fs::path> files;
  for (const char* top : {"include", "src"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto ext = entry.path().extension();
      if (ext == ".hpp" || ext == ".cpp") files.push_back(entry.path().lexically_relative(root));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

class tree {
 public:
  tree(fs::path root, const fs::path& policy_file)
      : root_(std::move(root)), policy_(read_policy(policy_file, found_)) {}

  findings check() {
    for (const fs::path& f : files_under(root_)) place(f);
    for (const auto& [name, room] : policy_.header_room) {
      if (!files_.contains(fs::path("include/leash") / name))
        found_.push_back("floors.txt: " + name + " does not exist");
    }
    for (const auto& [file, where] : files_) check_includes(file, where);
    check_circles();
    return found_;
  }
  std::size_t size() const { return files_.size(); }

 private:
  void place(const fs::path& file) {
    std::string room;
    if (file.string().starts_with("src/")) {
      room = std::next(file.begin())->string();
    } else if (auto it = policy_.header_room.find(file.lexically_relative("include/leash").string());
               it != policy_.header_room.end()) {
      room = it->second;
    }
    auto floor = policy_.floor_of.find(room);
    if (floor == policy_.floor_of.end()) found_.push_back(file.string() + ": floors.txt gives it no room");
    files_[file] = {room, floor == policy_.floor_of.end() ? -1 : floor->second};
  }

  void check_includes(const fs::path& file, const room_of_file& from) {
    int number = 0;
    for (const std::string& line : lines_of(root_ / file)) {
      ++number;
      const std::string name = included(line);
      if (name.empty()) continue;
      const std::string at = file.string() + ":" + std::to_string(number) + ": ";
      const fs::path target = resolve(file, name);
      if (target.empty()) {
        if (name.starts_with("leash/")) found_.push_back(at + "no such header: " + name);
        continue;  // the standard library, the system
      }
      includes_[file].push_back(target);
      const room_of_file& to = files_.at(target);
      if (from.floor < 0 || to.floor < 0 || to.room == from.room || to.floor < from.floor) continue;
      found_.push_back(at + from.room + " may not include " + to.room + " (" + target.string() + ")");
    }
  }

  fs::path resolve(const fs::path& from, const std::string& name) const {
    for (const fs::path& candidate : {from.parent_path() / name, fs::path("include") / name, fs::path("src") / name}) {
      if (files_.contains(candidate.lexically_normal())) return candidate.lexically_normal();
    }
    return {};
  }

  void check_circles() {
    std::set<fs::path> finished;
    std::vector<fs::path> path;
    std::function<void(const fs::path&)> visit = [&](const fs::path& file) {
      if (auto it = std::find(path.begin(), path.end(), file); it != path.end()) {
        std::string circle = "circle: ";
        for (; it != path.end(); ++it) circle += it->string() + " > ";
        found_.push_back(circle + file.string());
        return;
      }
      if (finished.contains(file)) return;
      path.push_back(file);
      for (const fs::path& next : includes_[file]) visit(next);
      path.pop_back();
      finished.insert(file);
    };
    for (const auto& [file, where] : files_) visit(file);
  }

  fs::path root_;
  findings found_;
  policy policy_;
  std::map<fs::path, room_of_file> files_;
  std::map<fs::path, std::vector<fs::path>> includes_;
};

/// The marks of comments that begin with ORD: `// ORD chan-3`, `// ORD chan-3, chan-4: why`.
std::vector<std::string> order_marks(std::string_view line) {
  const std::size_t comment = line.find("//");
  if (comment == line.npos) return {};
  line.remove_prefix(comment);
  line.remove_prefix(std::min(line.find_first_not_of("/ "), line.size()));
  if (!line.starts_with("ORD ")) return {};
  line.remove_prefix(4);
  std::vector<std::string> marks;
  for (;;) {
    std::size_t n = 0;
    while (n < line.size() && (std::islower(line[n]) || std::isdigit(line[n]) || line[n] == '_' || line[n] == '-')) ++n;
    marks.emplace_back(line.substr(0, n));  // an empty one is reported as malformed
    line.remove_prefix(n);
    if (!line.starts_with(", ")) return marks;
    line.remove_prefix(2);
  }
}

findings unpaired_orders(const fs::path& root) {
  std::map<std::string, std::vector<std::string>> places;
  findings found;
  for (const fs::path& file : files_under(root)) {
    int number = 0;
    for (const std::string& line : lines_of(root / file)) {
      const std::string at = file.string() + ":" + std::to_string(++number);
      for (const std::string& mark : order_marks(line)) {
        const std::size_t dash = mark.rfind('-');
        if (dash == mark.npos || dash == 0 || dash + 1 == mark.size() || !std::isdigit(mark[dash + 1])) {
          found.push_back(at + ": not of the form `ORD name-N`: " + line);
        } else {
          places[mark].push_back(at);
        }
      }
    }
  }
  for (const auto& [mark, at] : places) {
    if (at.size() < 2) found.push_back(at.front() + ": ORD " + mark + " has no other end");
  }
  return found;
}

std::string text(const findings& found) {
  std::string all;
  for (const std::string& f : found) all += f + "\n";
  return all;
}

// ---- the tree as it is ---------------------------------------------------------------------------------------------
const fs::path source_root = SOURCE_ROOT;

TEST(Floors, every_file_includes_only_its_own_room_and_lower_floors) {
  tree t(source_root, source_root / "tests/floors/floors.txt");
  EXPECT_EQ(text(t.check()), "");
  EXPECT_GT(t.size(), 3u);
}
TEST(Orders, every_mark_stands_at_both_ends) { EXPECT_EQ(text(unpaired_orders(source_root)), ""); }

// ---- planted faults ------------------------------------------------------------------------------------------------
class Planted : public ::testing::Test {
 protected:
  Planted() {
    std::string pattern = (fs::temp_directory_path() / "leash_floors_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    write("floors.txt",
          "floor low\nfloor left right\nfloor high\nheader low.hpp low\nheader left.hpp left\nheader right.hpp "
          "right\nheader high.hpp high\n");
    write("include/leash/low.hpp", "#include <vector>\n");
    write("include/leash/left.hpp", "#include <leash/low.hpp>\n");
    write("include/leash/right.hpp", "#include <leash/low.hpp>\n");
    write("include/leash/high.hpp", "#include <leash/left.hpp>\n  #  include <leash/right.hpp>\n");
    write("src/left/part.hpp", "#include <leash/left.hpp>\n");
    write("src/left/part.cpp", "#include \"part.hpp\"\n#include \"left/part.hpp\"\n");
  }
  ~Planted() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& content) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << content;
  }
  std::string found() { return text(tree(root_, root_ / "floors.txt").check()); }
  std::string unpaired() { return text(unpaired_orders(root_)); }

  fs::path root_;
};

TEST_F(Planted, a_clean_tree_gives_nothing) { EXPECT_EQ(found(), ""); }
TEST_F(Planted, a_header_that_includes_a_higher_floor_is_found) {
  write("include/leash/low.hpp", "\n#include <leash/high.hpp>\n");
  EXPECT_NE(found().find("include/leash/low.hpp:2: low may not include high"), std::string::npos) << found();
}
TEST_F(Planted, a_source_that_includes_a_higher_floor_is_found) {
  write("src/left/part.cpp", "#include \"leash/high.hpp\"\n");
  EXPECT_EQ(found(), "src/left/part.cpp:1: left may not include high (include/leash/high.hpp)\n");
}
TEST_F(Planted, a_private_header_of_a_neighbour_is_found) {
  write("src/right/part.cpp", "#include \"../left/part.hpp\"\n");
  EXPECT_EQ(found(), "src/right/part.cpp:1: right may not include left (src/left/part.hpp)\n");
}
TEST_F(Planted, rooms_on_one_floor_do_not_see_each_other) {
  write("include/leash/right.hpp", "#include <leash/left.hpp>\n");
  EXPECT_EQ(found(), "include/leash/right.hpp:1: right may not include left (include/leash/left.hpp)\n");
}
TEST_F(Planted, a_circle_inside_a_room_is_found) {
  write("src/left/a.hpp", "#include \"b.hpp\"\n");
  write("src/left/b.hpp", "#include \"a.hpp\"\n");
  EXPECT_EQ(found(), "circle: src/left/a.hpp > src/left/b.hpp > src/left/a.hpp\n");
}
TEST_F(Planted, a_header_or_folder_without_a_room_is_found) {
  write("include/leash/stray.hpp", "");
  write("src/attic/stray.cpp", "");
  EXPECT_EQ(found(),
            "include/leash/stray.hpp: floors.txt gives it no room\nsrc/attic/stray.cpp: floors.txt gives it no room\n");
}
TEST_F(Planted, a_header_that_is_gone_is_found) {
  fs::remove(root_ / "include/leash/high.hpp");
  EXPECT_EQ(found(), "floors.txt: high.hpp does not exist\n");
}
TEST_F(Planted, orders_with_two_ends_are_fine) {
  write("src/left/a.cpp", "x.store(1);  // ORD left-1, left-2: publishes y\n");
  write("src/left/b.cpp", "// ORD left-1\nx.load();  // ORD left-2\n// prose about ORD left-3 is no mark\n");
  EXPECT_EQ(unpaired(), "");
}
TEST_F(Planted, an_order_with_one_end_is_found) {
  write("src/left/a.cpp", "x.store(1);  // ORD left-1\n");
  write("src/left/b.cpp", "x.load();  // ORD left-10\n");
  EXPECT_EQ(unpaired(),
            "src/left/a.cpp:1: ORD left-1 has no other end\nsrc/left/b.cpp:1: ORD left-10 has no other end\n");
}
TEST_F(Planted, a_malformed_order_is_found) {
  write("src/left/a.cpp", "x.store(1);  // ORD left\n");
  EXPECT_EQ(unpaired(), "src/left/a.cpp:1: not of the form `ORD name-N`: x.store(1);  // ORD left\n");
}

}  // namespace
