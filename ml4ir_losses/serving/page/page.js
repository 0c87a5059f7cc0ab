"use strict";

const element = (id) => document.getElementById(id);
let operations = {};

function written(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && !Number.isInteger(value)) return value.toPrecision(5);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A table of objects: a row each, and a column for each name that any of them has.
function table(caption, rows) {
  const made = document.createElement("table");
  made.createCaption().textContent = caption;
  const names = [...new Set(rows.flatMap(Object.keys))];
  const head = made.createTHead().insertRow();
  for (const name of names) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of names) {
      const cell = line.insertCell();
      cell.textContent = written(row[name]);
      if (typeof row[name] === "number") cell.className = "number";
    }
  }
  return made;
}

// Every list of objects in an answer as a table, under what stands beside it.
function tables(answer) {
  const found = [];
  const walk = (value, caption) => {
    if (!value || typeof value !== "object") return;
    const isRows = Array.isArray(value) && value.length && value.every((one) => one && !Array.isArray(one) &&
      typeof one === "object" && !Object.values(one).some((cell) => Array.isArray(cell) && cell.length &&
      typeof cell[0] === "object"));
    if (isRows) {
      found.push(table(caption, value));
      return;
    }
    const beside = Array.isArray(value) ? caption : written(value.id ?? value.query_id ?? value.query ?? caption);
    for (const [name, part] of Object.entries(value)) walk(part, Array.isArray(value) ? beside : beside || name);
  };
  walk(answer, "");
  return found;
}

function choose() {
  const operation = operations[element("operation").value];
  element("summary").textContent = operation.summary;
  element("body").value = JSON.stringify(operation.example, null, 1);
}

async function send(event) {
  event.preventDefault();
  const start = performance.now();
  const status = element("status");
  status.className = "";
  status.textContent = "…";
  element("results").replaceChildren();
  element("answer").textContent = "";
  try {
    const response = await fetch(`v1/${element("operation").value}`, {
      method: "POST",
      headers: {"content-type": "application/json"},
      body: element("body").value,
    });
    const answer = await response.json();
    element("answer").textContent = JSON.stringify(answer, null, 1);
    if (!response.ok) throw new Error(answer.error);
    status.textContent = `${(performance.now() - start).toFixed(1)} ms`;
    element("results").replaceChildren(...tables(answer));
  } catch (error) {
    status.className = "error";
    status.textContent = error.message;
  }
}

async function load() {
  const [model, api] = await Promise.all(["v1/model", "openapi.json"].map(async (path) => (await fetch(path)).json()));
  document.title = element("run").textContent = model.run;
  element("served").textContent = `${model.kind}, version ${model.version}`;
  for (const [path, {post}] of Object.entries(api.paths)) {
    if (!post) continue;
    const name = path.split("/").pop();
    operations[name] = {summary: post.summary, example: post.requestBody.content["application/json"].example};
    element("operation").add(new Option(name));
  }
  if (model.columns.length) element("columns").append(table("", model.columns));
  else element("columns").textContent = "The run reads texts alone.";
  choose();
}

element("operation").addEventListener("change", choose);
element("form").addEventListener("submit", send);
element("body").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
load().catch((error) => {
  element("status").className = "error";
  element("status").textContent = error.message;
});
