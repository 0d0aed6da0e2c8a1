// The readers of Node: what they connect to for each text of the list on
// standard input.
const fs = require("fs"), http = require("http"), https = require("https"), net = require("net"), url = require("url");

// Each reader calls done when it has tried, and returns the socket or request.
const clientOf = text => /^https:/i.test(text) ? https : http;
const readers = [
	text => clientOf(text).get(text),
	text => text.includes("://") && clientOf(text).get(url.parse(text)), // without a host it takes localhost
	text => net.connect({ host: text, port: 80 }),
];

function read(reader, text, seen) {
	return new Promise(resolve => {
		const failed = err => {
			for (const e of [err, ...(err.errors ?? [])]) {
				if (e.address) seen.push(e.address);
			}
			resolve();
		};
		const connected = socket => {
			const record = () => { seen.push(socket.remoteAddress); socket.destroy(); resolve(); };
			socket.on("connect", record);
		};
		let client;
		try {
			client = reader(text);
		} catch {
			return resolve();
		}
		if (!client) return resolve();
		client.on("error", failed).on("close", () => resolve());
		client instanceof net.Socket ? connected(client) : client.on("socket", connected);
	});
}

async function fetched(text, seen) {
	try {
		await fetch(text);
	} catch (err) {
		for (const e of [err.cause, ...(err.cause?.errors ?? [])]) {
			const address = e?.address ?? e?.socket?.remoteAddress;
			if (address) seen.push(address);
		}
	}
}

(async () => {
	const texts = JSON.parse(fs.readFileSync(0, "utf8")), answers = [];
	for (let i = 0; i < texts.length; i += 50) {
		answers.push(...await Promise.all(texts.slice(i, i + 50).map(async text => {
			const seen = [];
			await Promise.all([fetched(text, seen), ...readers.map(reader => read(reader, text, seen))]);
			return seen.filter(Boolean);
		})));
	}
	fs.writeSync(1, JSON.stringify(answers)); // all of it, before the process ends
	process.exit();
})();
