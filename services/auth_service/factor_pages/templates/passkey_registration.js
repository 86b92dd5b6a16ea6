// The form is there for browsers that can make passkeys.
if (window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
  const words = {
    NotAllowedError: "No passkey was made.",
    InvalidStateError: "This device holds a passkey of yours already.",
    proof_required: "You signed in more than ten minutes ago. Sign out, sign in again, and add the passkey then.",
    passkey_limit: "You have as many passkeys as an account may have. Remove one first.",
  };
  const prove = (options) =>
    navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  const explain = (error) => words[error.name] || words[error.message] || "This did not work. Try again.";
  sendByPasskey(document.querySelector("#add-passkey"), prove, explain);
}
