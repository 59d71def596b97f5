package main

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "finfocus-plugin-standin/finfocusv1"
	"finfocus-plugin-standin/finfocusv1/finfocusv1connect"
)

// unimplementedMethods are the methods of the cost source that exist and that
// the stand-in does not do.
var unimplementedMethods = []string{
	"GetActualCost", "GetPricingSpec", "EstimateCost", "GetRecommendations",
	"DismissRecommendation", "GetBudgets", "DryRun", "BatchCost", "ResolveResourceTypes",
}

// unimplemented makes the handler of a method that is not done.
func unimplemented(method string, options ...connect.HandlerOption) (string, *connect.Handler) {
	procedure := "/" + finfocusv1connect.CostSourceServiceName + "/" + method
	answer := func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
		return nil, connect.NewError(connect.CodeUnimplemented, errors.New("not done by the stand-in"))
	}
	return procedure, connect.NewUnaryHandler(procedure, answer, options...)
}

// costSource answers the cost source's methods with fixed numbers.
type costSource struct {
	app *app
}

// Name gives the real plugin's name.
func (c *costSource) Name(
	context.Context, *connect.Request[pb.NameRequest],
) (*connect.Response[pb.NameResponse], error) {
	return connect.NewResponse(&pb.NameResponse{Name: pluginName}), nil
}

// GetPluginInfo gives the version and the region.
func (c *costSource) GetPluginInfo(
	context.Context, *connect.Request[pb.GetPluginInfoRequest],
) (*connect.Response[pb.GetPluginInfoResponse], error) {
	return connect.NewResponse(&pb.GetPluginInfoResponse{
		Name:        pluginName,
		Version:     version,
		SpecVersion: "v0.0.0",
		Providers:   []string{"aws"},
		Metadata: map[string]string{
			"region":   c.app.region,
			"stand_in": "true",
			"type":     "public-pricing-fallback",
		},
	}), nil
}

// Supports says yes to the own region of the one provider.
func (c *costSource) Supports(
	_ context.Context, request *connect.Request[pb.SupportsRequest],
) (*connect.Response[pb.SupportsResponse], error) {
	reason := c.refusal(request.Msg.GetResource())
	return connect.NewResponse(&pb.SupportsResponse{Supported: reason == "", Reason: reason}), nil
}

// GetProjectedCost gives the same price for everything it supports.
func (c *costSource) GetProjectedCost(
	_ context.Context, request *connect.Request[pb.GetProjectedCostRequest],
) (*connect.Response[pb.GetProjectedCostResponse], error) {
	resource := request.Msg.GetResource()
	if reason := c.refusal(resource); reason != "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New(reason))
	}
	if resource.GetResourceType() == "eks" {
		c.app.log.Warn().Str("region", "unknown").Str("service", "EKS").
			Msg("pricing field not found in embedded data")
	}
	c.app.log.Info().Str("aws_region", c.app.region).Str("operation", "GetProjectedCost").
		Msg("cost calculated")
	return connect.NewResponse(&pb.GetProjectedCostResponse{
		UnitPrice:     0.0104,
		Currency:      "USD",
		CostPerMonth:  7.592,
		BillingDetail: "stand-in: " + resource.GetResourceType() + " " + resource.GetSku(),
	}), nil
}

// refusal says why a resource is not supported, or nothing.
func (c *costSource) refusal(resource *pb.ResourceDescriptor) string {
	switch {
	case resource.GetProvider() != "aws":
		return fmt.Sprintf("provider %q is not supported", resource.GetProvider())
	case resource.GetRegion() != "" && resource.GetRegion() != c.app.region:
		return fmt.Sprintf("region %q is not supported by %s", resource.GetRegion(), c.app.region)
	}
	return ""
}
