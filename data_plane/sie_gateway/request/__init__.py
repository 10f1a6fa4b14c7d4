"""One request from its body to its answer: admission, jobs, dispatch, waiting, giving back."""
