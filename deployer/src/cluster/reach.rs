//! Ways into pods: a GET through the API server, a program that is run there, a port.

use std::future::poll_fn;
use std::pin::pin;

use futures_util::AsyncRead;
use http_body::Body as _;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::Api;
use kube::api::{AttachParams, LogParams};
use kube::client::Body;
use kube::core::Status;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Cluster;
use super::error::ClusterError;
use super::objects::{JSON, request};

/// Bytes of what a pod answers: it is not believed to say when it is at an end.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A port of a pod, as a port of this machine's own loopback. Closed when it is dropped.
#[derive(Debug)]
pub struct Forward {
    /// The port here.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of a body; none where it is more than a pod may answer.
async fn collected(body: Body) -> Result<Option<Vec<u8>>, kube::Error> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes.extend_from_slice(&data);
        if bytes.len() > MAX_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

impl Cluster {
    /// What a port of a pod answers to a GET, whatever its status; asked once, and read up to
    /// 4 MiB.
    ///
    /// # Errors
    /// [`ClusterError`], where it is Kubernetes that answers.
    pub async fn pod_get(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> Result<String, ClusterError> {
        let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}");
        let doing = format!("ask the pod {pod} for {path}");
        let failed = |error| ClusterError::new(&doing, &error);
        let request = request("GET", &url, None, JSON)?.map(Body::from);
        let answer = self.client().send(request).await.map_err(failed)?;
        let bytes = collected(answer.into_body()).await.map_err(failed)?;
        let Some(bytes) = bytes else {
            let reason = format!("it sends more than {MAX_ANSWER} bytes");
            return Err(ClusterError::Transport { doing, reason });
        };
        // What a pod answers may look like a `Status` too, whose every field is optional.
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(answer) if answer.get("kind").is_some_and(|kind| kind == "Status") => {
                let status: Status = serde_json::from_value(answer).unwrap_or_default();
                Err(failed(kube::Error::Api(status.boxed())))
            }
            _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// A container's log, as it comes.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn log_stream(
        &self,
        namespace: &str,
        pod: &str,
        parameters: &LogParams,
    ) -> Result<impl AsyncRead + Unpin + use<>, ClusterError> {
        let stream = self.pods_api(namespace).log_stream(pod, parameters).await;
        let failed = |error| ClusterError::new(&format!("read the log of the pod {pod}"), &error);
        stream.map(Box::pin).map_err(failed)
    }

    /// What a program prints that is run in a container, up to `limit` bytes.
    ///
    /// # Errors
    /// [`ClusterError`], also where it fails or prints more.
    pub async fn run(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        limit: u64,
    ) -> Result<String, ClusterError> {
        let doing = format!("run {} in the pod {pod}", command.join(" "));
        let failed = |reason: String| ClusterError::Transport { doing: doing.clone(), reason };
        let how =
            AttachParams::default().container(container).stdin(false).stdout(true).stderr(false);
        let process = self.pods_api(namespace).exec(pod, command.iter().copied(), &how).await;
        let mut process = process.map_err(|error| ClusterError::new(&doing, &error))?;
        let status = process.take_status();
        let mut text = String::new();
        if let Some(stdout) = process.stdout() {
            let read = stdout.take(limit + 1).read_to_string(&mut text).await;
            read.map_err(|error| failed(error.to_string()))?;
        }
        if text.len() as u64 > limit {
            process.abort();
            return Err(failed(format!("it prints more than {limit} bytes")));
        }
        let ended = match status {
            Some(status) => status.await,
            None => None,
        };
        match ended {
            Some(status) if status.status.as_deref() == Some("Failure") => {
                Err(failed(status.message.unwrap_or_else(|| "it failed".to_owned())))
            }
            _ => Ok(text),
        }
    }

    /// Forwards a port of a pod.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Forward, ClusterError> {
        let doing = format!("reach port {port} of the pod {pod}");
        let local = |error: std::io::Error| ClusterError::Transport {
            doing: doing.clone(),
            reason: error.to_string(),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(local)?;
        let here = listener.local_addr().map_err(local)?.port();
        let pods = self.pods_api(namespace);
        // Whether it is allowed is learned before anybody connects.
        let first = pods.portforward(pod, &[port]).await;
        let mut ready = Some(first.map_err(|error| ClusterError::new(&doing, &error))?);
        let pod = pod.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let way = match ready.take() {
                    Some(way) => Ok(way),
                    None => pods.portforward(&pod, &[port]).await,
                };
                let Ok(mut way) = way else { return };
                let Some(mut stream) = way.take_stream(port) else { return };
                tokio::spawn(async move {
                    // Either side may end it, and whoever asked then learns that.
                    let _ = copy_bidirectional(&mut socket, &mut stream).await;
                    drop(stream);
                    way.abort();
                });
            }
        });
        Ok(Forward { port: here, task })
    }

    fn pods_api(&self, namespace: &str) -> Api<KubePod> {
        Api::namespaced(self.client(), namespace)
    }
}
