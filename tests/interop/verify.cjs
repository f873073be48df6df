// Lets the official library verify a webhook: node verify.cjs SECRET, with {headers, body} as JSON on
// standard input; prints the event, or ends with 1 and says what is wrong.
const fs = require("node:fs");
const { Webhook } = require("standardwebhooks");

const { headers, body } = JSON.parse(fs.readFileSync(0, "utf8"));
try {
  console.log(JSON.stringify(new Webhook(process.argv[2]).verify(body, headers)));
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
