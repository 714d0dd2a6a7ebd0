// @ts-check
/** Hands a file to the browser, which saves it. Nothing is sent anywhere. */

const KEEP_MS = 60_000;

/** @param {string} name @param {BlobPart} content @param {string} type */
export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}
