"use strict";
const form = document.querySelector("form");
const said = document.querySelector("output");
const button = form.querySelector("button");
const token = new URLSearchParams(location.search).get("token") || "";
// The token leaves the address bar, and with it the history and what somebody looking over the shoulder sees.
history.replaceState(null, "", location.pathname);

// Says of each field, by the name that the page calls it, what it still needs.
const unmet = (errors) => {
  const needs = new Map();
  for (const { field, message } of errors) {
    const name = form.elements[field]?.labels[0].textContent;
    if (name) needs.set(name, [...(needs.get(name) || []), message]);
  }
  return [...needs].map(([name, messages]) => `${name} ${messages.join(", ")}.`).join(" ");
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  said.textContent = "";
  try {
    const answer = await fetch(form.dataset.call, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    if (answer.ok) {
      form.hidden = true;
      said.textContent = form.dataset.done;
      return;
    }
    const problem = await answer.json();
    said.textContent = unmet(problem.errors || []) || problem.detail;
  } catch {
    said.textContent = "The server did not answer. Try again.";
  }
  button.disabled = false;
});
