// Lets tus-js-client bring a file: node upload.cjs OPTIONS-AS-JSON; prints the URL of the upload.
//
// options: endpoint, token, file, storage, chunkSize, creation (bring a part with the creation),
// stopAfter (leave once so many bytes were acknowledged; the next run takes the upload up again).
const fs = require("node:fs");
const tus = require("tus-js-client");

const { endpoint, token, file, storage, chunkSize, creation, stopAfter } = JSON.parse(process.argv[2]);

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: "a name.txt", filetype: "text/plain" },
  chunkSize: chunkSize ?? Infinity,
  retryDelays: [10, 50, 200, 500],
  uploadDataDuringCreation: creation ?? false,
  urlStorage: new tus.FileUrlStorage(storage),
  storeFingerprintForResuming: true,
  onChunkComplete: (size, accepted) => {
    if (stopAfter !== undefined && accepted >= stopAfter) {
      upload.abort().then(() => {
        console.log(upload.url);
        process.exit(0);
      });
    }
  },
  onSuccess: () => console.log(upload.url),
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
});

upload.findPreviousUploads().then((previous) => {
  if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0]);
  upload.start();
});
