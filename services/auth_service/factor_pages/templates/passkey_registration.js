"use strict";
// The form is there for browsers that can make passkeys; what the authenticator has made is sent by it.
const form = document.querySelector("#add-passkey");
const said = document.querySelector("#passkey-said");
if (window.PublicKeyCredential?.parseCreationOptionsFromJSON) form.hidden = false;

const words = {
  NotAllowedError: "No passkey was made.",
  InvalidStateError: "This device holds a passkey of yours already.",
  proof_required: "You signed in more than ten minutes ago. Sign out, sign in again, and add the passkey then.",
  passkey_limit: "You have as many passkeys as an account may have. Remove one first.",
};

async function make() {
  const headers = { "X-CSRF-Token": form.elements.csrf.value };
  const answer = await fetch(form.dataset.options, { method: "POST", headers });
  const asked = await answer.json();
  if (!answer.ok) throw new Error(asked.code);
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey);
  const credential = await navigator.credentials.create({ publicKey });
  form.elements.challengeToken.value = asked.challengeToken;
  form.elements.credential.value = JSON.stringify(credential.toJSON());
  form.submit();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  form.querySelector("button").disabled = true;
  try {
    await make();
  } catch (error) {
    said.textContent = words[error.name] || words[error.message] || "This did not work. Try again.";
    form.querySelector("button").disabled = false;
  }
});
