# Builds tests/cli/go (the working directory): as usual, and with the leak profile of Go 1.26 where that can be had.
set(ENV{GOFLAGS} "-buildvcs=false -mod=mod")
set(ENV{GOTOOLCHAIN} local)
if("$ENV{HOME}$ENV{XDG_CACHE_HOME}$ENV{GOCACHE}" STREQUAL "")  # go wants a place for its cache
  set(ENV{GOCACHE} "${to}/gocache")
endif()
execute_process(COMMAND ${go} build -o "${to}/leaky" . COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE "${to}/leaky_proof")
set(ENV{GOEXPERIMENT} goroutineleakprofile)
execute_process(COMMAND ${go} build -o "${to}/leaky_proof" . RESULT_VARIABLE failed ERROR_VARIABLE why)
if(failed)
  message("Left out: proofs of Go (this go cannot build them: ${why})")
endif()
