"""What servers' replies mean: shapes and wordings of many servers, with other numbers than theirs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgd_utils.engines import server_replies
from cgd_utils.engines.server_replies import judge, read, told, trouble


def openai(message, code=None, param=None, type_="invalid_request_error"):
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def flat(message, code=400):
    """As SGLang and older vLLM have it."""
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}


TOO_LONG = {
    "openai": (400, openai("Please shorten it.", "context_length_exceeded", "messages")),
    "openai string": (400, openai("Invalid 'messages[0].content'.", "string_above_max_length")),
    "vllm": (400, openai("This model's maximum context length is 512 tokens. However, your prompt contains at least 600 input tokens, "
                         "which is too much.", 400, "input_tokens", "BadRequestError")),
    "vllm, with max_tokens": (400, flat("'max_tokens' or 'max_completion_tokens' is too large: 300. This model's maximum context length "
                                        "is 512 tokens and your request has 250 input tokens (300 > 512 - 250).")),
    "vllm, older": (400, flat("This model's maximum context length is 512 tokens. However, you requested 700 tokens (600 in the messages, "
                              "100 in the completion). Please reduce the length of the messages or completion.")),
    "sglang": (400, flat("The input (610 tokens) is longer than the model's context length (512 tokens).")),
    "sglang, total": (400, flat("Requested token count exceeds the model's maximum context length of 512 tokens.")),
    "llama.cpp": (400, {"error": {"code": 400, "message": "request (610 tokens) exceeds the available context size (512 tokens), try "
                                                         "increasing it", "type": "exceed_context_size_error", "n_ctx": 512}}),
    "llama.cpp, 500": (500, {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
    "llama-cpp-python": (500, openai("Requested tokens (700) exceed context window of 512", None, None, "internal_server_error")),
    "anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 250 tokens > 200 maximum"}}),
    "anthropic, both": (400, openai("input length and `max_tokens` exceed context limit: 154 + 64 > 200, decrease input length")),
    "gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (1048999) exceeds the maximum "
                                                                                      "number of tokens allowed (1048576)."}}]),
    "tgi": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 512. Given: 600", "error_type": "validation"}),
    "mistral": (400, flat("Prompt contains 700 tokens and 0 draft tokens, too large for model with 512 maximum context length", 3051)),
    "xai": (400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 512 but the request contains 700 tokens."}),
    "cohere": (400, {"message": "too many tokens: total number of tokens in this request cannot exceed 512"}),
    "bedrock": (400, openai("Input is too long for requested model.")),
    "dashscope": (400, openai("Range of input length should be [1, 512]", "invalid_parameter_error")),
    "moonshot": (400, openai("Invalid request: Your request exceeded model token limit: 512")),
    "zhipu": (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}),
    "lm studio": (400, {"error": "Trying to keep the first 700 tokens when context the overflows."}),
    "github models": (413, openai("Request body too large. Max size: 512 tokens.", "tokens_limit_reached")),
    "payload": (413, "<html>Payload Too Large</html>"),
    "gateway": (400, {"error": {"message": "Provider returned error", "code": 400,
                                "metadata": {"raw": json.dumps(openai("x", "context_length_exceeded"))}}}),
    "under 200": (200, openai("too many tokens in the prompt: 700 > 512")),
}  # fmt: skip
REFUSED = {
    "azure": (400, {"error": {"message": "The response was filtered due to the prompt triggering a policy.", "code": "content_filter",
                              "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    "openai": (400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt")),
    "openrouter": (403, {"error": {"code": 403, "message": "The model requires moderation and your input was flagged for x.",
                                   "metadata": {"reasons": ["x"], "flagged_input": "too many tokens"}}}),
    "deepseek": (400, openai("Content Exists Risk")),
    "dashscope": (400, openai("Output data may contain inappropriate content.", "data_inspection_failed")),
    "code alone": (422, {"code": "CONTENT_POLICY_VIOLATION"}),
    "legal": (451, {}),
}  # fmt: skip
AGAIN = {
    "overloaded": (200, {"id": "x", "error": {"message": "Upstream is busy", "code": 503}}),
    "a provider's 400 under 200": (200, {"error": {"message": "Provider returned error", "code": 400}}),
    "rate": (429, openai("Rate limit reached: limit 600 tokens per min, used 590, requested 30", "rate_limit_exceeded", None, "tokens")),
    "azure's rate": (429, {"error": {"code": "429", "message": "Requests have exceeded the token rate limit of your tier."}}),
    "time": (500, openai("token generation exceeded the time limit")),
    "broken": (502, "<html>Bad Gateway</html>"), "anthropic": (529, openai("Overloaded", type_="overloaded_error")), "lost": (0, "Timeout"),
}  # fmt: skip
FAULT = {
    "role": (400, openai("Invalid role in this context: 'tutor' messages are not allowed", "invalid_value", "messages[0].role")),
    "role, in words": (400, openai("Unexpected role 'tutor' in the context of messages; use at most system, user, assistant")),
    "max_tokens": (400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                               "unsupported_parameter", "max_tokens")),
    "max_tokens is too large": (400, openai("max_tokens is too large: 9000. This model supports at most 4096 completion tokens.",
                                            "invalid_value", "max_tokens")),
    "max_tokens, vllm": (400, openai("max_tokens=9000 cannot be greater than max_model_len=512. Please request fewer output tokens.", 400)),
    "max_tokens, groq": (400, openai("`max_tokens` must be less than or equal to `512`; it is less than the `context_window`", None, "max_tokens")),
    "temperature": (422, {"detail": [{"type": "less_than_equal", "loc": ["body", "temperature"], "msg": "Input should be less than or equal "
                                      "to 1", "input": 5}]}),
    "seed": (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 7}]}),
    "both": (400, openai("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")),
    "model": (404, openai("The model `x` does not exist", "model_not_found")), "key": (401, openai("Incorrect key", "invalid_api_key")),
    "quota": (429, openai("You exceeded your quota", "insufficient_quota")), "credit": (402, openai("Insufficient Balance")),
    "account": (403, openai("Your account was flagged for abuse")),
    "echo": (422, {"detail": [{"type": "missing", "loc": ["body", "user"], "msg": "Field required", "input": {"prompt": "too many tokens"}}]}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "status", "body"),
    [pytest.param(v, *case, id=f"{v}: {name}")
     for v, cases in (("too_long", TOO_LONG), ("refused", REFUSED), ("again", AGAIN), ("fault", FAULT)) for name, case in cases.items()],
)  # fmt: skip
def test_errors_of_many_servers(verdict, status, body):
    assert judge(status, body) == verdict


@pytest.mark.parametrize(
    ("case", "fields"),
    [("max_tokens", ["max_tokens"]), ("seed", ["seed"]), ("temperature", ["temperature"]), ("both", ["temperature", "top_p"]), ("role", [])],
)  # fmt: skip
def test_the_fields_that_an_error_names(case, fields):
    assert told(FAULT[case][1]).fields == fields


def answer(reason="stop", content="four", said=2, **message):
    return {
        "choices": [{"message": {"content": content, **message}, "finish_reason": reason}],
        "usage": {"completion_tokens": said},
    }


@pytest.mark.parametrize(
    ("reason", "end"),
    [("stop", "stop"), ("STOP", "stop"), (None, "stop"), ("", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"),
     ("length", "length"), ("max_tokens", "length"), ("MAX_TOKENS", "length"), ("model_length", "length"),
     ("content_filter", "refused"), ("SAFETY", "refused"), ("tool_use", "tool_call"), ("novel", "novel")],
)  # fmt: skip
def test_every_reason_to_end_has_one_name(reason, end):
    assert trouble(answer(reason)) is None
    assert read(answer(reason), 9)["finish_reason"] == end


def test_an_end_without_a_reason_at_the_limit_is_a_cut():
    assert read(answer(None, said=9), 9)["finish_reason"] == "length"
    assert read(answer("stop", said=9), 9)["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("content", "text"),
    [([{"type": "text", "text": "fo"}, {"type": "text", "text": "ur"}], "four"), (["fo", "ur"], "four"), (None, ""), ([], ""),
     ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}], "4"),
     ({"type": "text", "text": "4"}, "4"), ([{"type": "image_url", "image_url": {"url": "u"}}, {"type": "output_text", "text": "4"}], "4")],
)  # fmt: skip
def test_content_in_parts_is_joined_without_reasoning(content, text):
    row = read(answer(content=content, reasoning_content="long thoughts", reasoning="more"), 9)
    assert (row["text"], row["finish_reason"]) == (text, "stop" if text else "empty")


@pytest.mark.parametrize(
    "reply",
    [{"error": {"message": "x"}}, {"choices": None}, {"choices": None, "error": {"code": 429}}, {}, [], None, "html", 3,
     {**answer(), "error": {"message": "late"}}, {"choices": ["four"]}, {"choices": [{"error": {"code": 502}, "message": {"content": "fo"}}]},
     answer("error"), answer("abort"), {"detail": "busy"}],
)  # fmt: skip
def test_what_is_no_answer_is_trouble_that_passes(reply):
    assert judge(200, trouble(reply)) == "again"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "message", "code", "choices", "content", "usage", "finish_reason", "loc", "completion_tokens", "text"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(json_like, st.sampled_from([200, 400, 403, 422, 429, 500]))
def test_no_reply_breaks_the_reading(body, status):
    server_replies.usage(body)
    if trouble(body) is None:
        row = read(body, 9)
        assert isinstance(row["text"], str) and isinstance(row["finish_reason"], str)
        row["text"].encode()
    assert judge(status, body) in ("refused", "too_long", "again", "fault")
    assert told(body).message


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_a_letter():
    assert server_replies.whole("a\ud83d b") == "a\ufffd b"
    assert server_replies.whole("\ud83d\ude00") == "😀"
