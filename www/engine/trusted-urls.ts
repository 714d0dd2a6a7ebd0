/**
 * The Content-Security-Policy demands Trusted Types for what starts a script by its address. This policy is the only
 * one that it names, and it vouches for scripts of this site and for those that the page makes itself.
 */
type Policy = { createScriptURL: (url: string) => string };
type Factory = { createPolicy: (name: string, rules: Policy) => Policy };

const rules: Policy = {
  createScriptURL(url) {
    const { protocol, origin } = new URL(url);
    if (protocol !== "blob:" && origin !== location.origin) throw new TypeError(`a script from ${origin}`);
    return url;
  },
};

/** Browsers without Trusted Types take the text itself. */
const policy = (globalThis as { trustedTypes?: Factory }).trustedTypes?.createPolicy("loupe", rules) ?? rules;

/** An address that may start a script. Errors: a `TypeError` for one of another origin. */
export const trustedScript = (url: string) => policy.createScriptURL(url);
