//! Making metrics and registering them, in one step. Names and labels are constants: they can't clash at run time.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

const CONSTANT: &str = "names, labels and buckets are constants, registered once";

pub(super) struct Registered(Registry);

impl Registered {
    pub(super) fn new() -> Registered {
        Registered(Registry::new())
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect(CONSTANT);
        self.0.register(Box::new(metric.clone())).expect(CONSTANT);
        metric
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }
    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }
    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }
    pub(super) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }
    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.into())))
    }
    pub(super) fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.into()), labels))
    }

    /// With the build's and the process's own figures.
    pub(super) fn done(self, version: &str) -> Registry {
        let build = self.gauges("sluice_build_info", "1, labelled with the version.", &["version"]);
        build.with_label_values(&[version]).set(1);
        #[cfg(target_os = "linux")]
        self.0
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("the process's figures are registered once");
        self.0
    }
}
