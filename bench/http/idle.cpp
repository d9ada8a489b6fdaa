// idle PORT N PID: opens N connections, asks once on each, and says what they cost the server PID, in bytes of memory each.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {
long resident(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/statm");
  long all = 0, here = 0;
  in >> all >> here;
  return here * sysconf(_SC_PAGESIZE);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::string const pid = argv[3];
  int const wanted = std::atoi(argv[2]);
  std::vector<int> held;
  long before = 0;
  std::string const q = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  int const warm = wanted / 10;  // what is only there once is there by then
  for (int i = 0; i < wanted + warm; ++i) {
    if (i == warm) before = resident(pid);
    int const fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<unsigned short>(std::atoi(argv[1])));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char answer[4096];
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
        send(fd, q.data(), q.size(), 0) != static_cast<ssize_t>(q.size()) || recv(fd, answer, sizeof answer, 0) <= 0) {
      std::fprintf(stderr, "idle: only %d connections (the limit of open files is %lu)\n", i,
                   static_cast<unsigned long>(files.rlim_cur));
      break;
    }
    held.push_back(fd);
  }
  sleep(2);  // idle by now
  int const counted = static_cast<int>(held.size()) - warm;
  std::printf("%d %ld\n", counted, counted > 0 ? (resident(pid) - before) / counted : -1);
}
