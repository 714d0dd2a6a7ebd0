/** What the page's Content-Security-Policy forbids is forbidden in the worker too, on a host that sends no headers. */
import { createServer } from "node:http";
import { expect, test, waitForState } from "./site.ts";
import type { AddressInfo } from "node:net";

// The console reports what is refused.
test.use({ quiet: false });

test("neither the page nor its worker can ask an origin that the policy does not name", async ({ page, site }) => {
  const asked: string[] = [];
  const other = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end("here");
  });
  await new Promise((done) => other.listen(0, "127.0.0.1", () => done(undefined)));
  const address = `http://127.0.0.1:${(other.address() as AddressInfo).port}/`;
  // It does answer whoever may ask.
  expect(await (await fetch(address)).text()).toBe("here");

  await page.goto(site);
  await waitForState(page, "ready");
  const ask = async (address: string) => {
    const answer = await fetch(address).catch((error: Error) => error);
    return answer instanceof Error ? answer.name : answer.status;
  };
  const [worker] = page.workers();
  expect(worker.url()).toMatch(/^blob:/);
  expect(await worker.evaluate(ask, `${address}from-worker`)).toBe("TypeError");
  expect(await page.evaluate(ask, `${address}from-page`)).toBe("TypeError");
  expect(asked).toEqual(["/"]);
  // What it does name goes on: the model was read over the network.
  expect(await worker.evaluate(ask, `${site}models/tales/config.json`)).toBe(200);
  other.close();
});
