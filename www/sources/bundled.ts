/** Fetches a model folder in Hugging Face layout. All three files are asked for at once; the weights stay a stream. */
import { LoupeError } from "../engine/errors.ts";

async function fetchFile(url: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, { signal }).catch((error: Error) => {
    throw new LoupeError("network", `${url} could not be downloaded: ${error.message}`);
  });
  if (!response.ok) {
    throw new LoupeError(
      response.status === 404 ? "not-found" : "network",
      `${url} answered ${response.status} ${response.statusText}`.trim(),
    );
  }
  return response;
}

/** The length of the body as script will see it; unknown where the transfer is compressed. */
function bodyBytes({ headers }: Response) {
  const length = Number(headers.get("Content-Length"));
  return length > 0 && !headers.has("Content-Encoding") ? length : undefined;
}

/** @param model_url the folder, with a slash at its end */
export async function fetchModel(model_url: string, signal: AbortSignal) {
  const text = async (name: string) => (await fetchFile(model_url + name, signal)).text();
  const [config, tokenizer, response] = await Promise.all([
    text("config.json"),
    text("tokenizer.json"),
    fetchFile(`${model_url}model.safetensors`, signal),
  ]);
  if (!response.body) throw new LoupeError("network", `${response.url} has no content.`);
  return { config, tokenizer, weights: response.body, weights_bytes: bodyBytes(response) };
}
