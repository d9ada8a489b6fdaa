// The corpus: requests that must be refused, with the status; and good ones, which are much like them and must pass.
#pragma once
#include <string>
#include <vector>

namespace leash::test::http_tests {

struct sample {
  std::string name;
  std::string text;
  int status = 0;      // of the refusal
  std::string body{};  // of a good one
};

inline std::vector<sample> hostile_requests() {
  std::string const h = "Host: localhost\r\n";
  auto const post = [&](std::string fields, std::string body = {}) {
    return "POST /echo HTTP/1.1\r\n" + h + fields + "\r\n" + body;
  };
  return {
      // whose length has two readings
      {"length and coding", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX"), 400},
      {"coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nX"), 400},
      {"two lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", "abcdef"), 400},
      {"two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"), 400},
      {"a list of equal lengths", post("Content-Length: 5, 5\r\n", "abcde"), 400},
      {"a list of lengths", post("Content-Length: 5, 6\r\n", "abcdef"), 400},
      {"a signed length", post("Content-Length: +5\r\n", "abcde"), 400},
      {"a negative length", post("Content-Length: -5\r\n", "abcde"), 400},
      {"a hexadecimal length", post("Content-Length: 0x5\r\n", "abcde"), 400},
      {"a length with a blank in it", post("Content-Length: 5 5\r\n", "abcde"), 400},
      {"an empty length", post("Content-Length: \r\n", ""), 400},
      {"a length beyond all numbers", post("Content-Length: 99999999999999999999999\r\n", ""), 400},
      {"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
      {"two codings that differ", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
       400},
      {"a list of codings", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
      {"chunked not last", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 501},
      {"a coding that looks like it", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 501},
      {"a quoted coding", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), 501},
      {"a coding in a folded line", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), 400},
      {"a vertical tab before the coding", post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"), 400},
      {"a coding in HTTP/1.0", "POST /echo HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"a blank before the colon", post("Content-Length : 5\r\n", "abcde"), 400},
      {"a blank before the coding's colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400},
      // lines
      {"bare LF after the request line", "GET / HTTP/1.1\n" + h + "\r\n", 400},
      {"bare LF after a field", "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400},
      {"bare LF at the end", "GET / HTTP/1.1\r\n" + h + "\n", 400},
      {"bare CR in a value", "GET / HTTP/1.1\r\n" + h + "X: a\rb\r\n\r\n", 400},
      {"a folded line", "GET / HTTP/1.1\r\n" + h + "X: a\r\n b\r\n\r\n", 400},
      {"a folded line, by a tab", "GET / HTTP/1.1\r\n" + h + "X: a\r\n\tb\r\n\r\n", 400},
      {"a first field that is folded", "GET / HTTP/1.1\r\n " + h + "\r\n", 400},
      {"NUL in a value", "GET / HTTP/1.1\r\n" + h + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"NUL in a name", "GET / HTTP/1.1\r\n" + h + std::string("X\0: a\r\n\r\n", 9), 400},
      {"a field without a colon", "GET / HTTP/1.1\r\n" + h + "nonsense\r\n\r\n", 400},
      {"a field without a name", "GET / HTTP/1.1\r\n" + h + ": x\r\n\r\n", 400},
      {"a control character in a value", "GET / HTTP/1.1\r\n" + h + "X: \x01\r\n\r\n", 400},
      // the request line
      {"no version", "GET /\r\n" + h + "\r\n", 400},
      {"another protocol", "GET / HTTQ/1.1\r\n" + h + "\r\n", 400},
      {"HTTP/2.0", "GET / HTTP/2.0\r\n" + h + "\r\n", 505},
      {"HTTP/0.9", "GET / HTTP/0.9\r\n" + h + "\r\n", 505},
      {"HTTP/1.10", "GET / HTTP/1.10\r\n" + h + "\r\n", 400},
      {"a lower case protocol", "GET / http/1.1\r\n" + h + "\r\n", 400},
      {"two blanks", "GET  / HTTP/1.1\r\n" + h + "\r\n", 400},
      {"a blank in the target", "GET /a b HTTP/1.1\r\n" + h + "\r\n", 400},
      {"a tab between", "GET\t/ HTTP/1.1\r\n" + h + "\r\n", 400},
      {"a method that is no token", "G(T / HTTP/1.1\r\n" + h + "\r\n", 400},
      {"no method", " / HTTP/1.1\r\n" + h + "\r\n", 400},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"the hello of TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 12), 400},
      // hosts
      {"no host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\n" + h + h + "\r\n", 400},
      {"an expectation that nobody meets", post("Content-Length: 1\r\nExpect: 200-ok\r\n", "a"), 417},
      // chunks
      {"a chunk without a size", post("Transfer-Encoding: chunked\r\n", "\r\nabc\r\n0\r\n\r\n"), 400},
      {"a chunk of a size that is none", post("Transfer-Encoding: chunked\r\n", "xyz\r\nabc\r\n0\r\n\r\n"), 400},
      {"a negative chunk", post("Transfer-Encoding: chunked\r\n", "-3\r\nabc\r\n0\r\n\r\n"), 400},
      {"a chunk with 0x", post("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n"), 400},
      {"a chunk of a size beyond all numbers",
       post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), 400},
      {"a chunk that is longer than it says", post("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n"), 400},
      {"bare LF after a chunk's size", post("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"), 400},
      {"bare LF after a chunk", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\n0\r\n\r\n"), 400},
  };
}

inline std::vector<sample> good_requests() {
  std::string const h = "Host: localhost\r\n";
  auto const post = [&](std::string fields, std::string body) {
    return "POST /echo HTTP/1.1\r\n" + h + fields + "\r\n" + body;
  };
  return {
      {"plain", "GET / HTTP/1.1\r\n" + h + "\r\n"},
      {"HTTP/1.0 without a host", "GET / HTTP/1.0\r\n\r\n"},
      {"no blank after the colon", "GET / HTTP/1.1\r\nHost:localhost\r\nX:y\r\n\r\n"},
      {"blanks around a value", "GET / HTTP/1.1\r\nHost: \t localhost \t \r\n\r\n"},
      {"an empty value", "GET / HTTP/1.1\r\n" + h + "X:\r\n\r\n"},
      {"bytes above ASCII in a value", "GET / HTTP/1.1\r\n" + h + "X: \xc3\xa4\r\n\r\n"},
      {"an absolute target", "GET http://localhost/ HTTP/1.1\r\n" + h + "\r\n"},
      {"a length", post("Content-Length: 5\r\n", "abcde"), 0, "abcde"},
      {"a length of zero", post("Content-Length: 0\r\n", ""), 0, ""},
      {"a length with zeros before it", post("Content-Length: 0005\r\n", "abcde"), 0, "abcde"},
      {"chunks", post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 0, "abcde"},
      {"a coding in another case", post("TRANSFER-ENCODING: Chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), 0, "abc"},
      {"chunks with extensions and trailers",
       post("Transfer-Encoding: chunked\r\n", "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\nT: 1\r\nHost: x\r\n\r\n"), 0, "abc"},
      {"a chunk's size in either case",
       post("Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n"), 0,
       "01234567890123456789"},
      {"line breaks in a body", post("Content-Length: 4\r\n", "\n\r\n\n"), 0, "\n\r\n\n"},
  };
}

}  // namespace leash::test::http_tests
