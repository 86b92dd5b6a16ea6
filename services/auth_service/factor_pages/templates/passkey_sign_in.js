"use strict";
// The form is there for browsers that know passkeys; what the authenticator signs is sent by it like a password.
const form = document.querySelector("#passkey");
const said = document.querySelector("#passkey-said");
if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) form.hidden = false;

async function prove() {
  const answer = await fetch(form.dataset.options, { method: "POST" });
  const asked = await answer.json();
  if (!answer.ok) throw new Error(asked.code);
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.publicKey);
  const credential = await navigator.credentials.get({ publicKey });
  form.elements.challengeToken.value = asked.challengeToken;
  form.elements.credential.value = JSON.stringify(credential.toJSON());
  form.submit();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  form.querySelector("button").disabled = true;
  try {
    await prove();
  } catch (error) {
    said.textContent = error.name === "NotAllowedError" ? form.dataset.none : form.dataset.failed;
    form.querySelector("button").disabled = false;
  }
});
