// leash completion: made from the options themselves, so it cannot fall behind them.
#include "commands.hpp"

namespace leash::cli {

namespace {

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

/// In single quotes; `also` are further characters to put a backslash before.
std::string quoted(const std::string& s, const std::string& also = {}) {
  std::string out = "'";
  for (char c : s) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      if (also.find(c) != also.npos) out += '\\';
      out += c;
    }
  }
  return out + "'";
}

std::string for_bash(const std::vector<command_description>& commands) {
  std::string names, cases;
  for (const command_description& c : commands) {
    names += (names.empty() ? "" : " ") + c.name;
    std::string options, values;
    for (const option_description& o : c.options) {
      options += (options.empty() ? "" : " ") + joined(o.names);
      if (!o.takes_value) continue;
      values += "        " + joined(o.names, "|") + ") COMPREPLY=(";
      values += o.choices.empty() ? "$(compgen -f -- \"$word\")"
                                  : "$(compgen -W " + quoted(joined(o.choices)) + " -- \"$word\")";
      values += "); return ;;\n";
    }
    cases += "    " + c.name + ")\n      case $before in\n" + values + "      esac\n      options=" + quoted(options) +
             " ;;\n";
  }
  return "# bash completion of leash: source <(leash completion bash)\n"
         "_leash() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=\n"
         "  COMPREPLY=()\n"
         "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
         "    COMPREPLY=($(compgen -W " +
         quoted(names + " --help --version") +
         " -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case ${COMP_WORDS[1]} in\n" +
         cases +
         "  esac\n"
         "  case $word in\n"
         "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -o filenames -o bashdefault -F _leash leash\n";
}

std::string for_zsh(const std::vector<command_description>& commands) {
  std::string list, cases;
  for (const command_description& c : commands) {
    list += "    " + quoted(c.name + ":" + c.help, "") + "\n";
    cases += "    " + c.name + ")\n      _arguments \\\n";
    for (const option_description& o : c.options) {
      for (const std::string& name : o.names) {
        std::string spec = name + "[" + o.help + "]";
        if (o.takes_value) spec += o.choices.empty() ? ":value:_files" : ":value:(" + joined(o.choices) + ")";
        // Inside the brackets of _arguments these end the text.
        std::string safe;
        bool inside = false;
        for (char ch : spec) {
          if (ch == '[' && !inside) {
            inside = true;
          } else if (inside && (ch == '[' || ch == ':')) {
            safe += '\\';
          }
          if (ch == ']') inside = false;
          safe += ch;
        }
        cases += "        " + quoted(safe) + " \\\n";
      }
    }
    cases += "        '*:target:_files' ;;\n";
  }
  return "#compdef leash\n# zsh completion of leash: leash completion zsh > \"${fpath[1]}/_leash\"\n"
         "_leash() {\n"
         "  local -a commands=(\n" +
         list +
         "  )\n"
         "  if (( CURRENT == 2 )); then\n"
         "    _describe command commands\n"
         "    return\n"
         "  fi\n"
         "  local command=$words[2]\n"
         "  shift words\n"
         "  (( CURRENT-- ))\n"
         "  case $command in\n" +
         cases +
         "  esac\n"
         "}\n"
         "if [[ $zsh_eval_context == *:file ]]; then compdef _leash leash; else _leash \"$@\"; fi\n";
}

std::string for_fish(const std::vector<command_description>& commands) {
  std::string out = "# fish completion of leash: leash completion fish > ~/.config/fish/completions/leash.fish\n";
  for (const command_description& c : commands) {
    out += "complete -c leash -n __fish_use_subcommand -f -a " + c.name + " -d " + quoted(c.help, "\\") + "\n";
    for (const option_description& o : c.options) {
      out += "complete -c leash -n '__fish_seen_subcommand_from " + c.name + "'";
      for (const std::string& name : o.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (o.takes_value) out += o.choices.empty() ? " -r" : " -x -a " + quoted(joined(o.choices));
      out += " -d " + quoted(o.help, "\\") + "\n";
    }
  }
  return out;
}

}  // namespace

std::string completion(const std::string& shell, const std::vector<command_description>& commands) {
  return shell == "bash" ? for_bash(commands) : shell == "zsh" ? for_zsh(commands) : for_fish(commands);
}

}  // namespace leash::cli
