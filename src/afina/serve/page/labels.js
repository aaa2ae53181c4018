"use strict";
// Draws what is said of a text; what comes from the server is set as text, never as markup.

/** Returns the elements that show an answer: bars, a number, or words with their entities marked. */
function drawn(answer) {
  if (answer.tokens) return marked(answer);
  if (!answer.probabilities) return [made("div", "number", typeof answer.label === "number" ? answer.label.toLocaleString(document.documentElement.lang) : String(answer.label))];
  const chosen = new Set(answer.labels ?? [answer.label]);
  const ranked = Object.entries(answer.probabilities).sort(([, one], [, other]) => other - one);
  const shown = ranked.filter(([name], place) => place < MOST_BARS || chosen.has(name)).map(([name, share]) => bar(name, share, chosen.has(name)));
  if (!chosen.size) shown.unshift(made("p", "soft", say("no label")));
  if (ranked.length > MOST_BARS) shown.push(made("p", "soft", say("and {count} more", { count: number(ranked.length - MOST_BARS) })));
  return shown;
}

function bar(name, share, isChosen) {
  const row = made("div", isChosen ? "label chosen" : "label"), track = made("div", "track"), fill = made("div", "fill");
  fill.style.width = `${share * 100}%`;
  track.append(fill);
  row.append(made("span", "name", name), made("span", "share", `${number(share * 100, 1)}%`), track);
  return row;
}

function marked(answer) {
  if (!answer.entities.length) {
    const tags = answer.tokens.map((word, place) => `${word} [${answer.tags[place]}]`).join(" ");
    return [made("p", "", answer.tags.every((tag) => tag === "O") ? say("no entity") : tags)];
  }
  return answer.entities.map((entity) => {
    const line = made("div", "label"), name = made("span", "name"), mark = made("mark", "", entity.text);
    mark.append(made("small", "", entity.type));
    name.append(mark);
    line.append(name, made("span", "share", `${number(entity.probability * 100, 1)}%`));
    return line;
  });
}
