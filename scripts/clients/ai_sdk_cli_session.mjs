// ai-sdk-provider-codex-cli, its provider for the app server. Arguments: server, home, workspace.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { streamText, generateText } from 'ai';
import { createCodexAppServer } from 'ai-sdk-provider-codex-cli';

const [binary, home, workspace] = process.argv.slice(2);
const asked = [];
const provider = () =>
  createCodexAppServer({
    defaultSettings: {
      codexPath: binary,
      cwd: workspace,
      env: { ...process.env, BULKHEAD_HOME: home, CODEX_HOME: home },
      approvalPolicy: 'on-request',
      sandboxPolicy: 'workspace-write',
      serverRequests: {
        onCommandExecutionApproval: async (params) => {
          asked.push(params);
          return { decision: 'accept' };
        },
      },
    },
  });
const check = (condition, ...shown) => {
  if (!condition) throw new Error(JSON.stringify(shown));
};
const ESCALATED = { cmd: 'mkdir asked', sandbox_permissions: 'require_escalated', justification: 'to see' };

let codex = provider();
try {
  const persistent = { 'codex-app-server': { threadMode: 'persistent' } };
  const first = streamText({ model: codex('gpt-5.5'), prompt: 'Please.\n!say A first answer.', providerOptions: persistent });
  let said = '';
  for await (const part of first.textStream) said += part;
  const threadId = (await first.providerMetadata)?.['codex-app-server']?.threadId;
  check(threadId, await first.providerMetadata);
  console.log('done start');
  check(said === 'A first answer.', said);
  console.log('done stream');
  const same = { 'codex-app-server': { threadId } };
  const text = `Please.\n!tool exec_command ${JSON.stringify(ESCALATED)}\n!then\n!say It ran.`;
  const ran = await generateText({ model: codex('gpt-5.5'), prompt: text, providerOptions: same });
  check(ran.text === 'It ran.' && asked.length === 1, ran.text, asked);
  check(existsSync(join(workspace, 'asked')));
  console.log('done approval');
  const stopper = new AbortController();
  setTimeout(() => stopper.abort(), 1500);
  let aborted = false;
  try {
    const endless = streamText({
      model: codex('gpt-5.5'),
      prompt: 'Please.\n!run sleep 60\n!then\n!say never',
      providerOptions: same,
      abortSignal: stopper.signal,
      onAbort: () => (aborted = true),
    });
    for await (const part of endless.fullStream) if (part.type === 'abort') aborted = true;
  } catch (error) {
    aborted = error.name === 'AbortError';
  }
  check(aborted);
  console.log('done interrupt');
  await codex.close?.();
  codex = provider();
  const again = await generateText({ model: codex('gpt-5.5'), prompt: 'Please.\n!say Still here.', providerOptions: same });
  check(again.text === 'Still here.', again.text);
  console.log('done resume');
  console.log('none list');
} finally {
  await codex.close?.();
}
process.exit(0);
