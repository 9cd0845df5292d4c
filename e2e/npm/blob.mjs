// blob.mjs upload|download FILE: Azure's own client at the signed URL in BLOB_URL, with blocks and ranges side by side.
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { BlockBlobClient } from '@azure/storage-blob'

const MIB = 1 << 20
const CONCURRENCY = 8

const [command, file] = process.argv.slice(2)
const blob = new BlockBlobClient(process.env.BLOB_URL)

if (command === 'upload') {
  await blob.uploadStream(createReadStream(file), MIB, CONCURRENCY)
} else {
  const { contentLength } = await blob.getProperties()
  const whole = await blob.downloadToBuffer(0, contentLength, { blockSize: MIB, concurrency: CONCURRENCY })
  const [start, length] = [1000, 3 * MIB]
  const part = await buffer((await blob.download(start, length)).readableStreamBody)
  if (!part.equals(whole.subarray(start, start + length))) throw new Error('the part has other bytes')
  await writeFile(file, whole)
}
