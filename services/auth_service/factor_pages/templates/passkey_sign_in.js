// The form is there for browsers that know passkeys.
if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  const form = document.querySelector("#passkey");
  const prove = (options) =>
    navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  const explain = (error) => (error.name === "NotAllowedError" ? form.dataset.none : form.dataset.failed);
  sendByPasskey(form, prove, explain);
}
