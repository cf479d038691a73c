// ai-sdk-provider-codex-app-server, a provider for the Vercel AI SDK. Arguments: server, home, workspace.

import assert from "node:assert";
import { createCodexAppServer, listModels } from "ai-sdk-provider-codex-app-server";
import { streamText } from "ai";

const [binary, home, workspace] = process.argv.slice(2);
const settings = {
  codexPath: binary,
  cwd: workspace,
  approvalMode: "never",
  sandboxMode: "workspace-write",
  env: { ...process.env, BULKHEAD_HOME: home },
  logger: false,
};

async function ask(prompt, more = {}) {
  const provider = createCodexAppServer({ defaultSettings: { ...settings, ...more } });
  const model = provider("gpt-5.5");
  const result = streamText({ model, prompt, onError: () => {} });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part);
  const text = parts.filter((part) => part.type === "text-delta").map((part) => part.text).join("");
  const said = parts.findLast((part) => part.providerMetadata?.["codex-app-server"] ?? part.providerMetadata?.codex);
  // The process holds the thread, which another one is to resume.
  model.dispose();
  const about = said?.providerMetadata ?? {};
  return { text, thread: (about["codex-app-server"] ?? about.codex)?.sessionId };
}

// The interrupted turn has no output, which its promises, awaited by nobody, tell as errors.
process.on("unhandledRejection", () => {});

const first = await ask("!say A first answer.");
assert.ok(first.thread);
console.log("done start");
assert.strictEqual(first.text, "A first answer.");
console.log("done stream");
// It hears of approvals but has no way to answer them: a thread of its own never asks.
console.log("none approval");
let session;
const running = ask("!run sleep 60\n!then\n!say never", { onSessionCreated: (made) => { session = made; } });
while (!session?.isActive()) await new Promise((resolve) => setTimeout(resolve, 20));
await session.interrupt();
assert.strictEqual((await running).text, "");
console.log("done interrupt");
const again = await ask("!say Still here.", { resume: first.thread });
assert.strictEqual(again.text, "Still here.");
console.log("done resume");
const { models } = await listModels({ codexPath: binary, env: settings.env });
assert.ok(models.length);
console.log("done list");
process.exit(0);
