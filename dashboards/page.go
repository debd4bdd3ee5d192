package main

import (
	"encoding/json"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// page is a dashboard.
type page struct {
	uid, title, about string
	// choices are what a reader picks from lists, each out of the values of a
	// label.
	choices []choice
	rows    []row
}

// choice is a variable of a page.
type choice struct{ name, label, values string }

// row is a line of panels under a title.
type row struct {
	title  string
	panels []panel
}

// panel is one picture.
type panel struct {
	title, help string
	// unit is Grafana's: "s", "reqps", "percentunit", "short".
	unit string
	// number shows the latest value large instead of its course.
	number bool
	// stacked puts the series on top of each other.
	stacked bool
	queries []query
}

// query is a line, or a family of lines, of a panel.
type query struct{ expr, legend string }

// source is the data source that the reader has chosen.
var source = common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}

// json returns the dashboard as Grafana imports it.
func (p page) json() ([]byte, error) {
	//nolint:staticcheck // its successor is for Grafana 12 and later alone
	b := dashboard.NewDashboardBuilder(p.title).Uid(p.uid).Description(p.about).Tags([]string{"innermesh"}).
		Time("now-1h", "now").Refresh("30s").Tooltip(dashboard.DashboardCursorSyncCrosshair).Editable().
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		Link(dashboard.NewDashboardLinkBuilder("innermesh").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"innermesh"}).
			KeepTime(true).IncludeVars(true).AsDropdown(true))
	for _, c := range p.choices {
		b = b.WithVariable(dashboard.NewQueryVariableBuilder(c.name).Label(c.label).Datasource(source).
			Query(dashboard.StringOrMap{String: new(c.values)}).Multi(true).IncludeAll(true).AllValue(".*").
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc))
	}
	for _, r := range p.rows {
		b = b.WithRow(dashboard.NewRowBuilder(r.title))
		for _, one := range r.panels {
			b = b.WithPanel(one.builder(uint32(24 / len(r.panels))))
		}
	}
	built, err := b.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}

// builder makes the panel, as wide as it is told.
func (p panel) builder(width uint32) cog.Builder[dashboard.Panel] {
	if p.number {
		b := stat.NewPanelBuilder().Title(p.title).Description(p.help).Unit(p.unit).Datasource(source).Span(width).Height(4)
		for _, q := range p.queries {
			b = b.WithTarget(q.builder())
		}
		return b
	}
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.help).Unit(p.unit).Datasource(source).Span(width).Height(8).Min(0).
		LineWidth(1.5).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.stacked {
		b = b.FillOpacity(30).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for _, q := range p.queries {
		b = b.WithTarget(q.builder())
	}
	return b
}

func (q query) builder() *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).Datasource(source).Range()
}
