"""A person opens the page of a real server in a real browser, and tries two adapters by keyboard."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import afina
from browser import Browser, browsing, chromium
from served import save, served

FOLDER = Path(afina.__file__).parent / "serve" / "page"
HTML = "<img src=x onerror=\"document.title='broken in'\">"
CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
WAITING = "!document.querySelector('.waiting') && document.querySelectorAll('.answer').length === {}"

needs_browser = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def running(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    base, folder = speaker("llama"), tmp_path_factory.mktemp("page")
    save(base, folder / "anna", "lora", CHOICES)
    save(base, folder / "bert", "ia3", CHOICES, seed=1)
    save(base, folder / "tickets", "lora", {"name": "classification", "label_names": ["late", HTML, "broken"]})
    lamps = {"name": "choices", "answers": 2, "label_names": ["late", "broken"], "prompt": None}
    save(base, folder / "lamps", "lora", lamps)
    save(base, folder / "orders", "ia3", {"name": "multilabel", "label_names": ["new", "old"]})
    with served(base, adapters=folder, api_key="secret-of-all") as both:
        both[1].headers["authorization"] = "Bearer secret-of-all"
        yield both


@pytest.fixture(scope="module")
def page(running: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a browser that has gone in with the key."""
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        enter(browser, f"{running[0].url}/")
        yield browser


def enter(page: Browser, url: str) -> None:
    page("Page.navigate", url=url)
    page.until("location.href !== 'about:blank' && document.querySelector('#door')?.hidden === false")
    page.type("#key", "secret-of-all")
    page.press("Enter")
    page.until("document.querySelector('main')?.hidden === false")


def choose(page: Browser, place: int, name: str) -> None:
    page.run(f"""(() => {{const one = document.querySelectorAll('#choices select')[{place}];
        one.value = {json.dumps(name)}; one.dispatchEvent(new Event('change'))}})()""")


def ask(page: Browser, text: str) -> None:
    page.type("#text", text)
    page.press("Enter")


@needs_browser
def test_two_adapters_are_tried_beside_each_other(page: Browser, running: Any) -> None:
    server, client = running
    assert len(page.complaints) == 1 and "401" in page.complaints.pop()  # before there was a key

    # labels, of which one looks like markup
    page.run("document.querySelector('input[value=labels]').click()")
    offered = page.run("[...document.querySelectorAll('#choices select')[0].options].map(one => one.value)")
    assert offered == ["lamps", "orders", "tickets"]
    choose(page, 0, "tickets")
    choose(page, 1, "orders")
    ask(page, HTML)
    page.until(WAITING.format(2))
    body = {"model": "tickets", "input": HTML}
    wanted = client.post("/v1/classify", json=body).json()["data"][0]
    bars = page.run("""[...document.querySelectorAll('.log:first-child .label')].map(one => [
        one.querySelector('.name').textContent, parseFloat(one.querySelector('.share').textContent),
        one.classList.contains('chosen')])""")
    assert {name for name, *_ in bars} == wanted["probabilities"].keys() and len(bars) == 3
    for name, percent, chosen in bars:
        assert percent == pytest.approx(100 * wanted["probabilities"][name], abs=0.06) and chosen == (
            name == wanted["label"]
        )
    widths = page.run(
        "[...document.querySelectorAll('.log:first-child .fill')].map(one => parseFloat(one.style.width))"
    )
    assert widths == pytest.approx(sorted((100 * one for one in wanted["probabilities"].values()), reverse=True))
    assert page.run("document.querySelectorAll('.log:last-child .label').length") == 2
    assert page.text(".mine .text") == HTML

    # chats: each what its adapter writes to the same conversation, as it comes
    page.run("document.querySelector('input[value=chat]').click()")
    choose(page, 0, "anna")
    choose(page, 1, "bert")
    page.run("document.querySelector('#temperature').value = 0; document.querySelector('#most').value = 8")
    page.type("#system", "help")
    messages: dict[str, list[dict[str, str]]] = {"anna": [], "bert": []}
    for turn, text in enumerate(("where is my parcel", "the lamp is broken"), start=1):
        ask(page, text)
        page.until(WAITING.format(2 * turn))
        for name, column in (("anna", "first"), ("bert", "last")):
            messages[name].append({"role": "user", "content": text})
            whole = [{"role": "system", "content": "help"}, *messages[name]]
            settings = {"model": name, "messages": whole, "temperature": 0, "max_tokens": 8}
            said = client.post("/v1/chat/completions", json=settings).json()["choices"][0]["message"]["content"]
            shown = page.run(f"[...document.querySelectorAll('.log:{column}-child .answer .text')].at(-1).textContent")
            assert shown == said
            messages[name].append({"role": "assistant", "content": said})
    assert "tokens/s" in page.text(".answer .facts")

    # what is drawn by a seed is drawn again by the same
    page.run("document.querySelector('#temperature').value = 2; document.querySelector('#seed').value = 7")
    drawn = []
    for _ in range(2):
        page.run("document.querySelector('#clear').click()")
        ask(page, "a cat")
        page.until(WAITING.format(2))
        drawn.append(page.text(".answer .text"))
    said = client.post("/v1/chat/completions", json={
        "model": "anna", "messages": [{"role": "system", "content": "help"}, {"role": "user", "content": "a cat"}],
        "temperature": 2, "seed": 7, "max_tokens": 8,
    }).json()["choices"][0]["message"]["content"]  # fmt: skip
    assert drawn == [said, said]
    page.run("document.querySelector('#system').value = ''")

    assert all(url.startswith(f"{server.url}/") for url in page.asked if not url.startswith("about:"))
    assert page.complaints == [] and page.run("document.title") == "Afina"
    assert page.run("localStorage.length + sessionStorage.length") == 0 and "secret" not in page.run("location.href")


@needs_browser
def test_markup_and_faults_in_a_stream_are_text(page: Browser) -> None:
    """What no tiny model writes is put where the answer comes from: markup cut in pieces, a stream that ends early."""
    page.run("document.querySelector('input[value=chat]').click(); document.querySelector('#clear').click()")
    event = {"choices": [{"delta": {"content": HTML}, "finish_reason": None}]}
    sent = f"data: {json.dumps(event)}\n\n: still there\n\n".encode()
    pieces = [list(sent[start : start + 7]) for start in range(0, len(sent), 7)]
    page.run(f"""window.real = window.fetch; window.fetch = async () => new Response(new ReadableStream({{start(to) {{
        for (const piece of {pieces}) to.enqueue(new Uint8Array(piece)); to.close()}}}}))""")
    choose(page, 1, "")
    ask(page, "hello")
    page.until(WAITING.format(1))
    page.run("window.fetch = window.real")
    assert page.text(".answer .text") == HTML and "broke off" in page.text(".answer .problem")
    assert page.run("document.querySelectorAll('main img').length") == 0 and page.run("document.title") == "Afina"


@needs_browser
def test_it_speaks_portuguese_fits_a_phone_and_is_dark(page: Browser, running: Any) -> None:
    agent = page.run("navigator.userAgent")
    page("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="pt-BR")
    page("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    enter(page, f"{running[0].url}/")
    assert "chave" in page.run("document.querySelector('#door').textContent")
    assert page.run("document.documentElement.lang") == "pt-BR" and page.text("#send") == "Enviar"
    assert page.run("document.documentElement.scrollWidth") == 360
    red = page.run("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))")
    assert red < 64
    speak(page, "en")
    assert page.text("#send") == "Send"


def speak(page: Browser, language: str) -> None:
    page.run(f"""(() => {{const one = document.querySelector('#language'); one.value = '{language}';
        one.dispatchEvent(new Event('change'))}})()""")


@needs_browser
def test_what_was_said_before_is_said_again_in_the_other_language(page: Browser, running: Any) -> None:
    """Whose words they are stays; the page's own words and numbers are those of the language of now."""
    enter(page, f"{running[0].url}/")
    speak(page, "en")
    hint = page.text(".log p")
    speak(page, "pt")
    assert page.text(".log p") != hint and page.run("document.querySelectorAll('.log:first-child > p').length") == 1
    speak(page, "en")
    page.run("document.querySelector('input[value=labels]').click()")
    choose(page, 0, "orders")
    choose(page, 1, "tickets")
    ask(page, "a cat")
    page.until(WAITING.format(2))
    page.run("window.real = window.fetch; window.fetch = async () => { throw new TypeError('gone') }")
    ask(page, "a lamp")
    page.until(WAITING.format(4))
    page.run("window.fetch = window.real")
    english = page.run("[...document.querySelectorAll('.log')].map(one => one.textContent)")
    assert all("you" in text and "tokens" in text and "does not answer" in text and "%" in text for text in english)
    speak(page, "pt")
    portuguese = page.run("[...document.querySelectorAll('.log')].map(one => one.textContent)")
    for text in portuguese:
        assert "a cat" in text and not re.search(r"\byou|does not answer|[0-9]\.[0-9]", text), text
        assert "não responde" in text and re.search(r"[0-9],[0-9]%", text)
    speak(page, "en")
    assert page.run("[...document.querySelectorAll('.log')].map(one => one.textContent)") == english
    page.run("document.querySelector('input[value=chat]').click()")
    choose(page, 0, "anna")
    choose(page, 1, "")
    page.run("document.querySelector('#most').value = 3; document.querySelector('#temperature').value = 0")
    ask(page, "a cat")
    page.until(WAITING.format(1))
    facts = page.text(".answer .facts")
    speak(page, "pt")
    assert "tokens/s" in page.text(".answer .facts") and page.text(".answer .facts") != facts
    speak(page, "en")
    assert page.text(".answer .facts") == facts


def test_the_page_comes_with_a_policy_and_sets_nothing_as_markup(running: Any) -> None:
    server, _ = running
    script = "".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js")))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|https?:", script)
    with httpx2.Client(base_url=server.url) as nobody:
        parts = [f"/page/{path.name}" for path in FOLDER.iterdir()]
        assert len(parts) == 5
        for path in ("/", *parts, "/page/words.json"):
            found = nobody.get(path)
            policy = found.headers["content-security-policy"]
            assert found.status_code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
        for path in ("/page/../page.py", "/page/%2e%2e%2fpage.py", "/page/other.js"):
            assert nobody.get(path).status_code == 404


def test_models_say_what_they_do(running: Any) -> None:
    _, client = running
    does = {one["id"]: (one["writes"], one["classifies"]) for one in client.get("/v1/models").json()["data"]}
    writers = dict.fromkeys(("llama", "anna", "bert"), (True, False))
    assert does == writers | {"tickets": (False, True), "orders": (False, True), "lamps": (True, True)}
