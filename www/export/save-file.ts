/** Hands a file to the browser, which saves it. Nothing is sent anywhere. */

const KEEP_MS = 60_000;

export function save(name: string, content: BlobPart, type: string) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}

/** Spreadsheets take a file for UTF-8 only if it begins with a mark that says so. */
export const saveCsv = (name: string, csv: string) => save(name, `\ufeff${csv}`, "text/csv");
