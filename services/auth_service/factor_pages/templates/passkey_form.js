"use strict";
const said = document.querySelector("#passkey-said");

// Shows a form, asks what its authenticator has to answer, and sends the answer by the form like anything typed.
function sendByPasskey(form, prove, explain) {
  const button = form.querySelector("button");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.textContent = "";
    button.disabled = true;
    try {
      const headers = { "X-CSRF-Token": form.elements.csrf.value };
      const answer = await fetch(form.dataset.options, { method: "POST", headers });
      const asked = await answer.json();
      if (!answer.ok) throw new Error(asked.code);
      const credential = await prove(asked.publicKey);
      form.elements.challengeToken.value = asked.challengeToken;
      form.elements.credential.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch (error) {
      said.textContent = explain(error);
      button.disabled = false;
    }
  });
}
