"use strict";
// Asks the server that the page came from, and nobody else. Whatever comes from there is set as text, never as markup;
// the key is in a variable alone. What is drawn of labels is in labels.js.

const byId = (id) => document.getElementById(id);
const state = { mode: "", models: [], words: {}, language: "en", key: "", asking: null, trouble: () => "" };
const MOST_BARS = 12;

// -- words

function say(phrase, values = {}) {
  const text = (state.language === "pt" && state.words[phrase]) || phrase;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function number(value, digits = 0) {
  return value.toLocaleString(state.language === "pt" ? "pt-BR" : "en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function speak(language) {
  state.language = byId("language").value = language;
  document.documentElement.lang = language === "pt" ? "pt-BR" : "en";
  for (const one of document.querySelectorAll("[data-say]")) {
    one.dataset.phrase ??= one.textContent;
    one.textContent = say(one.dataset.phrase);
  }
  for (const one of document.querySelectorAll("[data-placeholder]")) {
    one.placeholder = say(one.dataset.placeholder);
    one.setAttribute("aria-label", one.placeholder);
  }
  byId("seed").placeholder = say("drawn");
  for (const column of columns) column.sayAgain();
  trouble(state.trouble);
  arrange();
}

function made(tag, kind, text) {
  const one = document.createElement(tag);
  if (kind) one.className = kind;
  if (text !== undefined) one.textContent = text;
  return one;
}

/** Returns an error in the page's own words, which may be said again in the other language. */
function spoken(phrase) {
  return Object.assign(new Error(say(phrase)), { phrase });
}

// -- the server

async function request(path, body, signal) {
  const headers = state.key ? { authorization: `Bearer ${state.key}` } : {};
  const asked = body ? { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) } : { headers };
  let answer;
  try {
    answer = await fetch(path, { ...asked, signal, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : spoken("The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const refusal = await answer.json().catch(() => ({}));
  const error = new Error(refusal.error?.message ?? `${answer.status} ${answer.statusText}`);
  throw Object.assign(error, { status: answer.status, param: refusal.error?.param });
}

/** Yields the events of a stream; one that ends without its [DONE] raises. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw spoken("The answer broke off before its end.");
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      if (!block.startsWith("data: ")) continue; // a sign of life
      if (block === "data: [DONE]") return;
      const event = JSON.parse(block.slice(6));
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

/** Looks at what there is to ask; shows the door where a key is needed. */
async function look() {
  try {
    state.models = (await (await request("v1/models")).json()).data;
  } catch (error) {
    byId("door").hidden = error.status !== 401;
    const unknown = error.status === 401 && state.key;
    trouble(() => unknown ? say("This key is not known here.") : error.status === 401 ? "" : error.phrase ? say(error.phrase) : error.message);
    if (error.status === 401) show(false);
    return error.status !== 401;
  }
  trouble(() => "");
  byId("door").hidden = true;
  const base = state.models.find((model) => model.parent === null);
  byId("base").textContent = base ? base.id : "";
  if (!state.mode) {
    const writers = state.models.filter((model) => model.writes).length;
    const others = state.models.filter((model) => model.parent && model.writes === false).length;
    choose(writers > others ? "chat" : "labels");
  }
  show(true);
  arrange();
  return true;
}

/** Shows what is wrong, if anything, in the language of now. */
function trouble(what) {
  state.trouble = what;
  byId("problem").textContent = what();
  byId("problem").hidden = !byId("problem").textContent;
}

function show(inside) {
  for (const one of ["modes", "choices", "ask"]) byId(one).hidden = !inside;
  document.querySelector("main").hidden = !inside;
  if (!inside) byId("key").focus();
}

// -- one or two columns

class Column {
  constructor(place) {
    this.select = document.querySelectorAll("#choices select")[place];
    this.log = document.querySelectorAll(".log")[place];
    this.isFirst = place === 0;
    this.wanted = { chat: null, labels: null };
    this.turns = [];
    this.sayings = []; // writes what the page itself says in the log, in the language of now
    this.select.addEventListener("change", () => {
      this.wanted[state.mode] = this.select.value;
      arrange();
    });
    this.clear();
  }

  get model() { return this.select.value; }

  clear() {
    this.turns = [];
    this.sayings = [];
    this.log.replaceChildren();
  }

  /** Has words or numbers of the page's own written now, and again when the language is another. */
  saying(write) {
    this.sayings.push(write);
    write();
  }

  sayAgain() {
    for (const write of this.sayings) write();
    this.log.querySelector(":scope > p")?.remove(); // the hint comes again with what is offered
  }

  /** Offers what can do what is to be done; keeps what was chosen, as long as it is there. */
  offer(models) {
    const others = this.isFirst ? [] : [new Option(say("nothing"), "")];
    const names = models.map((model) => new Option(model.parent === null ? say("{name} (base)", { name: model.id }) : model.id, model.id));
    this.select.replaceChildren(...others, ...names);
    const usual = this.isFirst ? models.find((model) => model.parent) ?? models[0] : null;
    const wanted = this.wanted[state.mode];
    this.select.value = models.some((model) => model.id === wanted) ? wanted : usual?.id ?? "";
    this.log.setAttribute("aria-label", this.model);
    if (!this.turns.length && !this.log.querySelector(".turn")) {
      const hint = state.mode === "chat" ? say("Ask something below, and the answer appears here.") : say("Give a text below, and its labels appear here.");
      this.log.replaceChildren(made("p", "soft", hint));
    }
  }

  /** Adds a turn to the log, and returns its text and the line of facts below. */
  turn(who, kind, text) {
    for (const hint of this.log.querySelectorAll(":scope > p")) hint.remove();
    const turn = made("div", `turn ${kind}`);
    const parts = { turn, text: made("div", "text", text), facts: made("div", "facts") };
    const named = made("div", "who");
    this.saying(() => { named.textContent = who(); });
    turn.append(named, parts.text, parts.facts);
    this.log.append(turn);
    this.follow(true);
    return parts;
  }

  /** Keeps the end in sight, unless somebody reads further up. */
  follow(always = false) {
    const log = this.log;
    if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 60) log.scrollTop = log.scrollHeight;
  }

  async ask(text, second, signal) {
    const model = this.model;
    this.turn(() => say("you"), "mine", second ? `${text}\n${second}` : text);
    const answer = this.turn(() => model, "answer waiting", "");
    try {
      if (state.mode === "chat") await this.chat(model, text, answer, signal);
      else await this.classify(model, text, second, answer, signal);
    } catch (error) {
      if (error.name === "AbortError") this.saying(() => { answer.facts.textContent = say("(stopped)"); });
      else {
        const problem = made("p", "problem"), why = await this.why(model, error);
        this.saying(() => { problem.textContent = why(); });
        answer.turn.append(problem);
      }
    }
    answer.turn.classList.remove("waiting");
    this.follow();
  }

  /** Returns what says why there is no answer. */
  async why(model, error) {
    if (error.status === 401) await look();
    if (error.phrase) return () => say(error.phrase);
    if (error.status !== 400 || error.param !== "model") return () => error.message;
    await look(); // what it is for may be known only now
    const does = state.models.find((one) => one.id === model);
    if (state.mode === "chat" && does?.writes === false) return () => say("{name} labels texts; choose Classify above.", { name: model });
    if (state.mode === "labels" && does?.writes && !does.classifies) return () => say("{name} writes; choose Chat above.", { name: model });
    return () => error.message;
  }

  async chat(model, text, answer, signal) {
    const system = byId("system").value.trim(), seed = byId("seed").valueAsNumber;
    const messages = [...this.turns, { role: "user", content: text }];
    const before = system ? [{ role: "system", content: system }] : [];
    const began = performance.now();
    let first = null, finish = null, used = null, whole = "";
    try {
      const stream = await request("v1/chat/completions", {
        model, messages: [...before, ...messages], stream: true, stream_options: { include_usage: true },
        temperature: byId("temperature").valueAsNumber, max_completion_tokens: byId("most").valueAsNumber,
        ...(Number.isNaN(seed) ? {} : { seed }),
      }, signal);
      for await (const event of events(stream)) {
        const choice = event.choices[0];
        used = event.usage ?? used;
        finish = choice?.finish_reason ?? finish;
        if (!choice?.delta.content) continue;
        first ??= performance.now();
        whole += choice.delta.content;
        answer.text.textContent = whole;
        this.follow();
      }
    } finally {
      // What was stopped is a part of the conversation; what nothing came of is not.
      if (whole) this.turns = [...messages, { role: "assistant", content: whole }];
    }
    if (!whole) this.saying(() => { answer.text.textContent = say("(no answer)"); });
    // Of the whole time that a person waited: pieces may come several at once, and the time between them says little.
    const count = used.completion_tokens, rate = count / (performance.now() - began) * 1000;
    this.saying(() => {
      const facts = [say("{rate} tokens/s", { rate: number(rate, 1) }), say(count === 1 ? "{count} token" : "{count} tokens", { count: number(count) })];
      if (first !== null) facts.push(say("first after {seconds} s", { seconds: number((first - began) / 1000, 2) }));
      if (finish === "length") facts.push(say("cut off at the limit"));
      answer.facts.textContent = facts.join(" · ");
    });
  }

  async classify(model, text, second, answer, signal) {
    const began = performance.now();
    const body = { model, input: text, ...(second && { pairs: second }) };
    const found = await (await request("v1/classify", body, signal)).json();
    const took = performance.now() - began, read = found.usage.total_tokens;
    this.saying(() => {
      answer.text.replaceChildren(...drawn(found.data[0]));
      const facts = [say("{count} ms", { count: number(took) }), say(read === 1 ? "{count} token" : "{count} tokens", { count: number(read) })];
      if (found.cut) facts.push(say("the text was too long and was cut"));
      answer.facts.textContent = facts.join(" · ");
    });
  }
}

// -- the page

function choose(mode) {
  state.mode = document.body.dataset.mode = mode;
  document.querySelector(`#modes input[value=${mode}]`).checked = true;
  for (const one of document.querySelectorAll(".of-chat input")) one.disabled = mode !== "chat"; // what is not seen is not checked
}

const columns = [0, 1].map((place) => new Column(place));

/** Brings what is offered, said and hidden in line with the mode, the models and the language. */
function arrange() {
  if (!state.mode) return;
  const isChat = state.mode === "chat";
  const fits = (model) => isChat ? model.writes !== false : model.parent !== null && model.classifies !== false;
  const models = state.models.filter(fits);
  for (const column of columns) column.offer(models);
  byId("text-label").textContent = byId("text").placeholder = isChat ? say("Your message") : say("A text to classify");
  columns[1].log.hidden = !columns[1].model;
  document.querySelector("main").classList.toggle("one", columns[1].log.hidden);
  byId("send").disabled = !models.length;
  if (!models.length && state.models.length) trouble(() => isChat ? say("Nobody here can chat: the base and its adapters do not write.") : say("No adapter here labels texts."));
  else if (state.models.length) trouble(() => "");
}

async function ask() {
  const text = byId("text").value.trim(), second = state.mode === "labels" ? byId("second").value.trim() : "";
  if (!text || state.asking || byId("send").disabled || !byId("ask").reportValidity()) return;
  state.asking = new AbortController();
  busy(true);
  byId("text").value = byId("second").value = "";
  await Promise.all(columns.filter((column) => column.model).map((column) => column.ask(text, second, state.asking.signal)));
  state.asking = null;
  busy(false);
}

function busy(is) {
  byId("send").hidden = is;
  byId("stop").hidden = !is;
  for (const one of document.querySelectorAll("#modes, #choices select, #clear")) one.disabled = is;
  byId("text").focus();
}

const stop = () => state.asking?.abort();

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => event.key === "Escape" && stop());
byId("stop").addEventListener("click", stop);
byId("clear").addEventListener("click", () => {
  for (const column of columns) column.clear();
  arrange();
  byId("text").focus();
});
byId("modes").addEventListener("change", (event) => {
  choose(event.target.value);
  for (const column of columns) column.clear();
  arrange();
});
byId("language").addEventListener("change", (event) => speak(event.target.value));
byId("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  state.key = byId("key").value;
  if (await look()) byId("text").focus();
});
window.addEventListener("focus", () => state.mode && !state.asking && look());

(async () => {
  state.words = await (await fetch("page/words.json")).json().catch(() => ({}));
  speak((navigator.language ?? "").toLowerCase().startsWith("pt") ? "pt" : "en");
  await look();
})();
