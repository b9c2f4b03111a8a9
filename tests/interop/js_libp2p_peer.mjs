// A js-libp2p node for tests/interop/test_js_libp2p.py. Arguments: node_modules folder, target multiaddr, topic.
// Commands on stdin: "publish HEX", "ask PROTOCOL HEX". Each line on stdout is one JSON object.
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

// js-libp2p wants Node 22; this is the one thing of it that Node 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const [modules, target, topic] = process.argv.slice(2)
// By path, because imports do not look at NODE_PATH.
const load = (name) => import(pathToFileURL(`${modules}/${name}/dist/src/index.js`))
const { createLibp2p } = await load('libp2p')
const { tcp } = await load('@libp2p/tcp')
const { noise } = await load('@chainsafe/libp2p-noise')
const { yamux } = await load('@chainsafe/libp2p-yamux')
const { identify } = await load('@libp2p/identify')
const { ping } = await load('@libp2p/ping')
const { gossipsub } = await load('@libp2p/gossipsub')
const { multiaddr } = await load('@multiformats/multiaddr')

const say = (object) => process.stdout.write(JSON.stringify(object) + '\n')
const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), pubsub: gossipsub() }
})
node.services.pubsub.addEventListener('message', (event) => {
  say({ heard: Buffer.from(event.detail.data).toString('hex'), type: event.detail.type })
})
node.services.pubsub.subscribe(topic)
await node.dial(multiaddr(target))
say({ peer: node.peerId.toString(), pinged: (await node.services.ping.ping(multiaddr(target))) >= 0 })

async function ask (protocol, body) {
  const stream = await node.dialProtocol(multiaddr(target), protocol)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  stream.send(Buffer.concat([length, body]))
  let answer = Buffer.alloc(0)
  for await (const piece of stream) {
    answer = Buffer.concat([answer, piece.subarray()])
    if (answer.length >= 5 && answer.length >= 5 + answer.readUInt32BE(1)) break
  }
  await stream.close()
  say({ status: answer[0], body: answer.subarray(5).toString('hex') })
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, first, second] = line.split(' ')
  if (command === 'publish') await node.services.pubsub.publish(topic, Buffer.from(first, 'hex'))
  if (command === 'ask') await ask(first, Buffer.from(second ?? '', 'hex'))
}
await node.stop()
